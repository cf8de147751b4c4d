#!/usr/bin/env bash
# Everything that has to hold before a change goes in: formatting, lints, documentation, all tests.
#
#   sudo ./test.sh     everything; installs the Debian packages that it finds missing
#   ./test.sh          what needs no root; the rest is reported as skipped, with the reason
#
# The last line is the summary: `N passed, N failed, N skipped`. The exit status is 0 only if nothing failed.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")" || exit 1
started=$SECONDS
passed=0 failed=0 skipped=0
failures=()
log=$(mktemp) || exit 1

finish() {
    rm -f "$log"
    # Under sudo the build must not leave files behind that its user cannot replace.
    if [ "$(id -u)" -eq 0 ] && [ -n "${SUDO_UID:-}" ] && [ -d target ]; then
        chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" target fuzz/target Cargo.lock 2>/dev/null
    fi
}
trap finish EXIT

# --- reporting --------------------------------------------------------------------------------------------------

headline() { printf '\n=== %s\n' "$*"; }

pass() { passed=$((passed + 1)); }

fail() {
    failed=$((failed + 1))
    failures+=("$1")
    printf 'FAILED: %s\n' "$1"
}

skip() {
    skipped=$((skipped + 1))
    printf 'SKIPPED: %s: %s\n' "$1" "$2"
}

# check NAME COMMAND…: one command that counts as one test.
check() {
    local name=$1
    shift
    headline "$name"
    if "$@"; then pass; else fail "$name"; fi
}

# suite NAME COMMAND…: a test runner, whose own `test result:` lines are summed.
suite() {
    local name=$1 status sums p f s
    shift
    headline "$name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    sums=$(awk '/^test result: / {
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^passed;?$/) p += $(i - 1)
            if ($i ~ /^failed;?$/) f += $(i - 1)
            if ($i ~ /^ignored;?$/) s += $(i - 1)
        }
    } END { print p + 0, f + 0, s + 0 }' "$log")
    read -r p f s <<<"$sums"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    if [ "$f" -gt 0 ]; then
        failures+=("$name: $f tests")
    elif [ "$status" -ne 0 ]; then
        fail "$name (exit status $status)"
    elif [ $((p + s)) -eq 0 ]; then
        fail "$name (no test ran)"
    fi
}

# --- what the tests need ----------------------------------------------------------------------------------------

is_root() { [ "$(id -u)" -eq 0 ]; }

# command:package pairs.
needed=(cc:build-essential c++:build-essential ip:iproute2 ping:iputils-ping nft:nftables setpriv:util-linux
    valgrind:valgrind qemu-system-x86_64:qemu-system-x86 busybox:busybox-static traceroute:traceroute
    tracepath:iputils-tracepath bird:bird2)

missing_packages() {
    local pair
    for pair in "${needed[@]}"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null 2>&1 || echo "${pair##*:}"
    done | sort -u
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages)
    [ "${#packages[@]}" -eq 0 ] && return
    if ! is_root; then
        echo "Not installed, and not root to install them: ${packages[*]}"
        return
    fi
    headline "installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q && apt-get install -q -y --no-install-recommends "${packages[@]}" ||
        echo "Some packages could not be installed; the tests that need them will say so."
}

# The kernel of a virtual machine that the tests boot: unpacked into target/guest, not installed.
unpack_guest_kernel() {
    local folder package
    if compgen -G 'target/guest/boot/vmlinuz-*' >/dev/null || ! is_root || [ "$(uname -m)" != x86_64 ]; then
        return
    fi
    package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends:/ { print $2; exit }')
    folder=$(mktemp -d) || return
    headline "unpacking ${package:-a kernel for the virtual machine}"
    mkdir -p target/guest
    if ! { [ -n "$package" ] && (cd "$folder" && apt-get download -q "$package") &&
        dpkg-deb --fsys-tarfile "$folder"/*.deb | tar -x -C target/guest --wildcards './boot/vmlinuz-*' \
            './lib/modules/*/kernel/drivers/virtio' './lib/modules/*/kernel/drivers/net/*virtio_net.ko' \
            './lib/modules/*/kernel/*failover.ko'; }; then
        echo "It could not be had; the test of a virtual machine will say so."
        rm -rf target/guest
    fi
    rm -rf "$folder"
}

# `sudo` resets PATH: find the Rust of the user that called it.
find_rust() {
    if ! command -v cargo >/dev/null 2>&1; then
        local home
        home=$(getent passwd "${SUDO_USER:-$(id -un)}" | cut -d: -f6)
        export PATH="$home/.cargo/bin:$PATH"
        [ -d "$home/.rustup" ] && export RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}"
    fi
    if ! command -v cargo >/dev/null 2>&1; then
        echo "cargo was not found: install Rust first, see https://rustup.rs"
        fail "cargo is installed"
        summary
    fi
    if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
        command -v rustup >/dev/null 2>&1 && rustup component add rustfmt clippy
    fi
}

summary() {
    printf '\n'
    [ "${#failures[@]}" -gt 0 ] && printf 'FAILED: %s\n' "${failures[@]}"
    printf 'took %d min %d s\n' $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60))
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    [ "$failed" -eq 0 ]
    exit
}

# --- the checks -------------------------------------------------------------------------------------------------

# Loom replaces the atomics of the crates under test, so it is a build of its own.
loom_tests() {
    local file
    for file in */tests/loom.rs; do
        [ -f "$file" ] || continue
        suite "every interleaving: $file" \
            env RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom \
            cargo test --release --package "${file%%/*}" --test loom
    done
}

# Instruction counts do not depend on how busy the machine is.
instruction_counts() {
    suite "instruction counts" cargo bench -p benches --bench instructions
}

find_rust
install_packages
unpack_guest_kernel
is_root || echo "Not root: the tests that make network namespaces will be skipped (run: sudo ./test.sh)"

check "formatting" cargo fmt --all --check
check "lints" cargo clippy --quiet --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" check "documentation" cargo doc --quiet --workspace --no-deps --document-private-items
suite "tests" cargo test --workspace --no-fail-fast
loom_tests
if [ -f fuzz/Cargo.toml ]; then
    check "fuzz targets build" cargo clippy --quiet --manifest-path fuzz/Cargo.toml --target-dir target/fuzz -- -D warnings
fi
instruction_counts
summary
