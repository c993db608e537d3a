#!/bin/sh
# Checks the toolchain, then builds and installs vidur-ecs.
#
#   ./install.sh                  into ~/.cargo/bin (or $CARGO_INSTALL_ROOT/bin)
#   ./install.sh --root DIR       into DIR/bin
#
# Other options go to `cargo install`. Running this script again updates the installation.
set -eu

# The minimum is written once, in Cargo.toml.
cd "$(dirname "$0")"
minimum=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)

missing=0
complain() {
    printf 'missing: %s\n' "$1" >&2
    shift
    for line in "$@"; do
        printf '         %s\n' "$line" >&2
    done
    missing=1
}

# at_least FOUND WANTED: whether version FOUND (1.95.0) is not below WANTED (1.95).
at_least() {
    found_major=${1%%.*}
    found_minor=${1#*.}
    found_minor=${found_minor%%.*}
    wanted_major=${2%%.*}
    wanted_minor=${2#*.}
    wanted_minor=${wanted_minor%%.*}
    [ "$found_major" -gt "$wanted_major" ] ||
        { [ "$found_major" -eq "$wanted_major" ] && [ "$found_minor" -ge "$wanted_minor" ]; }
}

root=${CARGO_INSTALL_ROOT:-${CARGO_HOME:-${HOME:-}/.cargo}}
expecting=
for argument in "$@"; do
    case $expecting$argument in
        root=*) root=${expecting:+$argument}; expecting= ;;
        --root) expecting=root= ;;
        --root=*) root=${argument#--root=} ;;
        -h | --help)
            sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        *) ;;
    esac
done

rust_help="install Rust with rustup, as https://rustup.rs says"
if ! command -v rustc >/dev/null 2>&1; then
    complain "rustc, the Rust compiler, $minimum or newer" "$rust_help"
else
    version=$(rustc --version | cut -d ' ' -f 2)
    if ! at_least "$version" "$minimum"; then
        complain "rustc $minimum or newer (this one is $version)" \
            "with rustup: rustup update stable" "otherwise: $rust_help"
    fi
fi
if ! command -v cargo >/dev/null 2>&1; then
    complain "cargo, Rust's build tool" "$rust_help"
fi
if ! command -v cc >/dev/null 2>&1; then
    complain "cc, a C compiler, which Rust uses to link" \
        "Debian, Ubuntu: sudo apt-get install build-essential" \
        "Fedora: sudo dnf install gcc" \
        "macOS: xcode-select --install"
fi
if [ "$missing" -ne 0 ]; then
    echo "Nothing was installed. Install what is missing, then run ./install.sh again." >&2
    exit 1
fi

echo "Building vidur-ecs (a few minutes the first time) ..."
# --force: the installed program may have the same version but other sources.
cargo install --path . --locked --force "$@"

program=$root/bin/vidur-ecs
echo
"$program" --version
echo "installed as $program"
case ":$PATH:" in
    *":$root/bin:"*) command=vidur-ecs ;;
    *)
        command=$program
        # shellcheck disable=SC2016 # the user is to read $PATH
        printf 'To call it by name: export PATH="%s:$PATH"\n' "$root/bin"
        ;;
esac
echo "Try:  $command scenarios/i3_1.ron"
echo "      $command list"
