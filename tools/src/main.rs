//! The `flyover` binary: a thin main, everything is in the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    tools::main()
}
