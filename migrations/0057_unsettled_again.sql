-- What 0033 says of it is not so any more.
COMMENT ON COLUMN pulls.unsettled IS 'Listings in which rows moved each time they were read; the next daily look reads them again, and of a recent past any pull does about twice a day.';
