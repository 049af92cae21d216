//! The `lapwing` program.

fn main() -> std::process::ExitCode {
    lapwing::cli::main()
}
