//! A new migration is part of the program although no source names it.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
