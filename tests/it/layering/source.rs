//! Just enough of Rust's grammar to know which paths a file names.
//!
//! Comments, strings and character literals are blanked first, so that prose and messages never count; then the rest is cut
//! into words and signs, `use` trees are spelled out, and `self::` and `super::` are resolved against the module they stand in.

/// A path as it was written, made absolute where it was relative to the crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mention {
    /// The line, counted from one.
    pub(super) line: usize,
    pub(super) target: Target,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Into this crate; the segments below its root, none for the root itself.
    Ours(Vec<String>),
    /// Anywhere else; the first segment is a crate, or a name that only the compiler could resolve.
    Other(Vec<String>),
}

/// Every path that a file names, given the module it makes (`["http", "auth"]` for `src/http/auth/mod.rs`).
pub(super) fn mentions(module: &[String], text: &str) -> Vec<Mention> {
    let blanked = blank(text);
    let tokens = tokens(&blanked);
    Walk {
        tokens: &tokens,
        next: 0,
        scopes: Vec::new(),
        depth: 0,
        module,
        found: Vec::new(),
    }
    .run()
}

/// Every word of the code, with its line; what stands in comments and strings is none.
pub(super) fn words(text: &str) -> Vec<(usize, String)> {
    let blanked = blank(text);
    let words = tokens(&blanked)
        .into_iter()
        .filter_map(|token| match token.kind {
            Kind::Word(word) => Some((token.line, word.to_owned())),
            _ => None,
        });
    words.collect()
}

/// The text with comments, strings and character literals turned to blanks, line by line as long as before.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(
                chars[at..end]
                    .iter()
                    .map(|&c| if c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    out
}

/// Where the comment or literal that starts here ends; `at` itself if none starts here.
fn literal_end(chars: &[char], at: usize) -> usize {
    let peek = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    let inside_word = at > 0 && is_word(chars[at - 1]);
    match peek(0) {
        '/' if peek(1) == '/' => (at..chars.len())
            .find(|&i| chars[i] == '\n')
            .unwrap_or(chars.len()),
        '/' if peek(1) == '*' => comment_end(chars, at),
        '"' => string_end(chars, at),
        '\'' if peek(1) == '\\' => {
            // An escape: the quote that ends it is at least two characters further on.
            (at + 3..chars.len())
                .find(|&i| chars[i] == '\'')
                .map_or(chars.len(), |i| i + 1)
        }
        // Not a lifetime: those have no closing quote.
        '\'' if peek(2) == '\'' => at + 3,
        'r' | 'b' | 'c' if !inside_word => prefixed_end(chars, at),
        _ => at,
    }
}

/// The end of `r"…"`, `r#"…"#`, `b"…"`, `br"…"`, `b'…'`, `c"…"` and their like; `at` itself for any other word.
fn prefixed_end(chars: &[char], at: usize) -> usize {
    let mut quote = at;
    while quote < chars.len() && quote < at + 2 && matches!(chars[quote], 'r' | 'b' | 'c') {
        quote += 1;
    }
    let raw = chars[quote - 1] == 'r';
    let hashes = chars[quote..].iter().take_while(|&&c| c == '#').count();
    match chars.get(quote + hashes) {
        Some('"') if raw => {
            let close: Vec<char> = std::iter::once('"')
                .chain(std::iter::repeat_n('#', hashes))
                .collect();
            let body = quote + hashes + 1;
            (body..chars.len())
                .find(|&i| chars[i..].starts_with(&close))
                .map_or(chars.len(), |i| i + close.len())
        }
        Some('"') if hashes == 0 => string_end(chars, quote),
        Some('\'') if hashes == 0 && chars[at] == 'b' => literal_end(chars, quote),
        _ => at,
    }
}

fn string_end(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// Block comments nest.
fn comment_end(chars: &[char], start: usize) -> usize {
    let mut open = 0_usize;
    let mut at = start;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (open, at) = (open + 1, at + 2),
            ('*', Some('/')) => (open, at) = (open - 1, at + 2),
            _ => at += 1,
        }
        if open == 0 {
            return at;
        }
    }
    chars.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    line: usize,
    kind: Kind<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind<'a> {
    Word(&'a str),
    PathSep,
    Sign(char),
}

fn tokens(blanked: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    for (index, line) in blanked.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            if let Some(raw) = rest
                .strip_prefix("r#")
                .filter(|raw| raw.starts_with(is_word))
            {
                rest = raw; // `r#type` is the word `type`
                continue;
            }
            let (kind, length) = if is_word(first) {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (Kind::Word(&rest[..length]), length)
            } else if rest.starts_with("::") {
                (Kind::PathSep, 2)
            } else {
                (Kind::Sign(first), first.len_utf8())
            };
            found.push(Token {
                line: index + 1,
                kind,
            });
            rest = rest[length..].trim_start();
        }
    }
    found
}

/// One pass over the tokens that keeps track of the inline modules it is in.
struct Walk<'a> {
    tokens: &'a [Token<'a>],
    next: usize,
    /// Inline modules, each with the depth of braces outside of it.
    scopes: Vec<(&'a str, usize)>,
    depth: usize,
    module: &'a [String],
    found: Vec<Mention>,
}

impl<'a> Walk<'a> {
    fn run(mut self) -> Vec<Mention> {
        while let Some(token) = self.tokens.get(self.next) {
            match token.kind {
                Kind::Sign('{') => {
                    self.depth += 1;
                    self.next += 1;
                }
                Kind::Sign('}') => {
                    self.depth = self.depth.saturating_sub(1);
                    self.scopes.pop_if(|(_, outside)| *outside == self.depth);
                    self.next += 1;
                }
                Kind::Word("mod") if self.kind(2) == Some(Kind::Sign('{')) => {
                    if let Some(Kind::Word(name)) = self.kind(1) {
                        self.scopes.push((name, self.depth));
                    }
                    self.next += 2;
                }
                // `impl Trait + use<'a>` captures lifetimes and imports nothing.
                Kind::Word("use") if self.kind(1) != Some(Kind::Sign('<')) => {
                    self.next += 1;
                    self.tree(&[]);
                }
                Kind::Word(_) => self.path(),
                Kind::PathSep | Kind::Sign(_) => self.next += 1,
            }
        }
        self.found
    }

    fn kind(&self, ahead: usize) -> Option<Kind<'a>> {
        self.tokens.get(self.next + ahead).map(|token| token.kind)
    }

    /// A path in code. A lone word is not one: it may be a variable, or something a `use` has brought in.
    fn path(&mut self) {
        let line = self.tokens[self.next].line;
        let mut segments = Vec::new();
        while let Some(Kind::Word(segment)) = self.kind(0) {
            segments.push(segment);
            self.next += 1;
            if self.kind(0) != Some(Kind::PathSep) {
                break;
            }
            self.next += 1;
        }
        if segments.len() > 1 {
            self.mention(line, &segments);
        }
    }

    /// A `use` tree after its keyword, or one branch of it: `a::{b, c::*}`, `a as b`, `::a`.
    fn tree(&mut self, prefix: &[&'a str]) {
        let mut path = prefix.to_vec();
        let mut line = None;
        loop {
            match self.kind(0) {
                Some(Kind::Word("as")) => {
                    // The new name changes nothing of where the path leads.
                    self.next += 2;
                }
                Some(Kind::Word(segment)) => {
                    line.get_or_insert(self.tokens[self.next].line);
                    // `a::{self}` is `a`; a leading `self` is the module itself.
                    if segment != "self" || path.is_empty() {
                        path.push(segment);
                    }
                    self.next += 1;
                }
                Some(Kind::Sign('*')) => {
                    line.get_or_insert(self.tokens[self.next].line);
                    self.next += 1;
                }
                Some(Kind::Sign('{')) => {
                    self.next += 1;
                    while !matches!(self.kind(0), None | Some(Kind::Sign('}'))) {
                        self.tree(&path);
                        if self.kind(0) == Some(Kind::Sign(',')) {
                            self.next += 1;
                        }
                    }
                    self.next += 1;
                    return;
                }
                Some(Kind::PathSep) => self.next += 1,
                _ => break,
            }
        }
        match line {
            Some(line) => self.mention(line, &path),
            None => self.next += 1, // not a tree the language knows; step over it rather than stand still
        }
    }

    fn mention(&mut self, line: usize, segments: &[&str]) {
        let inline = self.scopes.iter().map(|(name, _)| (*name).to_owned());
        let mut here: Vec<String> = self.module.iter().cloned().chain(inline).collect();
        let mut rest = segments;
        match segments[0] {
            "crate" => {
                here.clear();
                rest = &rest[1..];
            }
            "self" | "super" => {
                while let Some(("self" | "super", tail)) =
                    rest.split_first().map(|(first, tail)| (*first, tail))
                {
                    if rest[0] == "super" {
                        here.pop();
                    }
                    rest = tail;
                }
            }
            _ => {
                let target = Target::Other(segments.iter().copied().map(str::to_owned).collect());
                self.found.push(Mention { line, target });
                return;
            }
        }
        here.extend(rest.iter().copied().map(str::to_owned));
        self.found.push(Mention {
            line,
            target: Target::Ours(here),
        });
    }
}
