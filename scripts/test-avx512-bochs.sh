#!/bin/sh
# Runs the tests of lapwing-quant on an emulated CPU with AVX-512 and VNNI (Ice Lake), where the machine has none:
# bochs boots a small Linux whose only program is the static test binary. About 45 s of boot on two busy cores; never part
# of the plain test command.
#
#     scripts/test-avx512-bochs.sh [--fetch] [arguments of the test binary]
#     scripts/test-avx512-bochs.sh --binary FILE [arguments]       a static x86-64 program (or busybox script) of your own
#     scripts/test-avx512-bochs.sh --tree DIR ...                  DIR's files are in the guest's root folder, too
#
# --fetch downloads the Debian packages below and unpacks them under target/bochs/root; nothing is installed.
# LAPWING_BOCHS_TIMEOUT: seconds for each binary (default 1800). LAPWING_REQUIRE_ISA is passed on.
#
# How it fits together: isolinux loads kernel and initramfs from an ISO; the initramfs's init mounts /proc, runs the
# binary and prints its exit code; console is the first serial port, which bochs writes to a file.
# What had to be found out:
#   - Debian's bochs 2.7 has the internal debugger: it waits for "c" (continue), hence -rc;
#   - it has no display without X but rfb (VNC), which must be told not to wait for a viewer;
#   - its CPUID leaf 0xD leaves out PKRU and gives no size of the compacted format (Linux would disable AVX), and with
#     fsrm, erms (rep movsb) memory was seen shifted by two bytes and the boot hung at "LSM: Security Framework initializing":
#     the kernel is told to do without pku, xsaves, xsavec, fsrm and erms;
#   - what is printed last is lost when the power goes off at once: init sleeps (emulated) two seconds;
#   - an unknown MSR is reported at every timer tick: nothing is logged.
set -eu
cd "$(dirname "$0")/.."

packages="bochs bochsbios vgabios libltdl7 libsamplerate0 libgtk-3-0 libepoxy0 libwayland-cursor0 libwayland-egl1
    isolinux syslinux-common genisoimage busybox-static"
target=x86_64-unknown-linux-musl
work=$PWD/target/bochs
root=${LAPWING_BOCHS_ROOT:-$work/root}
limit=${LAPWING_BOCHS_TIMEOUT:-1800}
mkdir -p "$work"

fail() {
    echo "test-avx512-bochs: $*" >&2
    exit 1
}

fetch() {
    kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9]\)/\1/p' | head -1)
    [ -n "$kernel" ] || fail "apt knows no linux-image-cloud-amd64; run apt-get update"
    mkdir -p "$work/deb" "$root"
    (cd "$work/deb" && rm -f ./*.deb && apt-get download -qq $packages "$kernel")
    for deb in "$work"/deb/*.deb; do dpkg -x "$deb" "$root"; done
}

# What bochs boots: $1 is the program, the rest its arguments.
make_iso() {
    rm -rf "$work/init" "$work/iso" "$work/boot.iso"
    mkdir -p "$work/init/bin" "$work/init/proc" "$work/init/dev" "$work/init/tmp" "$work/iso/isolinux"
    cp "$root/bin/busybox" "$work/init/bin/"
    [ -z "$tree" ] || cp -RL "$tree/." "$work/init/"
    cp "$1" "$work/init/bin/program"
    chmod +x "$work/init/bin/program"
    shift
    cat >"$work/init/init" <<END
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
export LAPWING_REQUIRE_ISA='${LAPWING_REQUIRE_ISA:-}'
[ -n "\$LAPWING_REQUIRE_ISA" ] || unset LAPWING_REQUIRE_ISA
/bin/busybox grep -m1 -o 'avx512_vnni' /proc/cpuinfo
/bin/program $*
echo "exit code \$?"
/bin/busybox sleep 2
/bin/busybox poweroff -f
END
    chmod +x "$work/init/init"
    (cd "$work/init" && find . | "$root/bin/busybox" cpio -o -H newc >"$work/iso/initrd") 2>/dev/null
    cp "$kernel_image" "$work/iso/vmlinuz"
    cp "$root/usr/lib/ISOLINUX/isolinux.bin" "$root/usr/lib/syslinux/modules/bios/ldlinux.c32" "$work/iso/isolinux/"
    cat >"$work/iso/isolinux/isolinux.cfg" <<END
default linux
prompt 0
label linux
 kernel /vmlinuz
 append initrd=/initrd console=ttyS0 rdinit=/init clearcpuid=pku,ospke,xsaves,xsavec,fsrm,erms $kernel_options
END
    "$root/usr/bin/genisoimage" -quiet -o "$work/boot.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
        -no-emul-boot -boot-load-size 4 -boot-info-table "$work/iso"
}

kernel_options="nosmp mitigations=off tsc=reliable nokaslr loglevel=4 panic=-1"

# Boots the ISO until the program has ended, and shows what it printed.
boot() {
    cat >"$work/bochsrc" <<END
config_interface: textconfig
display_library: rfb, options="timeout=0"
cpu: model=corei7_icelake_u, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest=512, host=512
romimage: file=$root/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=$root/usr/share/vgabios/vgabios.bin
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/boot.iso, status=inserted
boot: cdrom
clock: sync=none
com1: enabled=1, mode=file, dev=$work/serial.txt
log: /dev/null
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
END
    echo c >"$work/rc"
    rm -f "$work/serial.txt"
    LTDL_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu/bochs/plugins LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu \
        BXSHARE=$root/usr/share/bochs timeout "$limit" "$root/usr/bin/bochs-bin" -q -f "$work/bochsrc" -rc "$work/rc" \
        >"$work/bochs.out" 2>&1 </dev/null &
    bochs=$!
    trap 'kill $bochs 2>/dev/null || true' EXIT INT TERM
    while kill -0 $bochs 2>/dev/null && ! grep -q '^exit code' "$work/serial.txt" 2>/dev/null; do sleep 1; done
    kill $bochs 2>/dev/null || true
    wait $bochs 2>/dev/null || true
    trap - EXIT INT TERM
    tr -d '\r' <"$work/serial.txt" | sed '/^ISOLINUX\|^Loading/d'
    tr -d '\r' <"$work/serial.txt" | grep -qx 'exit code 0' || fail "no success within $limit s; see $work/serial.txt"
}

binary=
tree=
while [ $# -gt 0 ]; do
    case $1 in
        --fetch) fetch; shift ;;
        --binary) binary=$2; shift 2 ;;
        --tree) tree=$2; shift 2 ;;
        *) break ;;
    esac
done

for file in usr/bin/bochs-bin usr/lib/ISOLINUX/isolinux.bin usr/bin/genisoimage bin/busybox; do
    [ -e "$root/$file" ] || fail "$root/$file is missing. Run with --fetch (on Debian), or unpack these packages and
a kernel (linux-image-cloud-amd64) there: $packages"
done
kernel_image=$(ls "$root"/boot/vmlinuz-* 2>/dev/null | head -1)
[ -n "$kernel_image" ] || fail "no kernel in $root/boot; run with --fetch"
missing=$(LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu ldd "$root/usr/bin/bochs-bin" | sed -n 's/ => not found//p')
[ -z "$missing" ] || fail "bochs lacks libraries:" $missing

if [ -z "$binary" ]; then
    rustup target list --installed | grep -qx "$target" || fail "missing: rustup target add $target"
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-Clink-self-contained=yes -Cstrip=symbols"
    binaries=$(cargo test -p lapwing-quant --target "$target" --tests --no-run 2>&1 | tee /dev/stderr |
        sed -n 's/.*Executable .*(\(.*\))$/\1/p')
    [ -n "$binaries" ] || fail "cargo built no test binary"
else
    binaries=$binary
fi
for binary in $binaries; do
    echo "== $binary under bochs" >&2
    make_iso "$binary" "$@"
    boot
done
