//! The program with the built-in plug-ins alone.

fn main() -> std::process::ExitCode {
    vidur_ecs::cli::main_with(&[])
}
