/* Show a newer x86 CPU to one process as one that ends at AVX2: what ONNX Runtime does there can then be run and timed here.

       cc -O1 -shared -fPIC benchmarks/avx2_only.c -o avx2_only.so
       LD_PRELOAD=$PWD/avx2_only.so rarn-edge audit rarn-s.int8.onnx

   Linux on x86-64, where /proc/cpuinfo has `cpuid_fault`: the kernel then lets a process trap its own CPUID instructions. Each
   is answered here with the CPU's own answer, less AVX-512, AVX-VNNI, AMX and half precision. The kernels that run on an AVX2
   CPU are chosen by that, and their arithmetic, saturation included, is the same; caches, clock and ports are still this CPU's.
   rarn-edge reads /proc/cpuinfo, so it is told by a variable: results name the host as one without these features. Python's
   faulthandler takes over the trap; leave it off. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012 /* asm/prctl.h */
#define BIT(n) (1u << (n))

/* Intel's manual, volume 2A, CPUID, leaf 7. */
static const unsigned AVX512_EBX = BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31);
static const unsigned AVX512_ECX = BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14); /* VNNI is bit 11 */
static const unsigned AVX512_AMX_EDX = BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25);
static const unsigned PART1_EAX = BIT(4) | BIT(5) | BIT(21) | BIT(23); /* AVX-VNNI, AVX-512 BF16, AMX-FP16, AVX-IFMA */
static const unsigned PART1_EDX = BIT(4) | BIT(5) | BIT(8) | BIT(10) | BIT(19); /* AVX-VNNI-INT8 and 16, AMX-COMPLEX, AVX10 */

static void answer_cpuid(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *code = (const unsigned char *)registers[REG_RIP];
    unsigned leaf = registers[REG_RAX], part = registers[REG_RCX], a, b, c, d;
    (void)info;
    if (code[0] != 0x0f || code[1] != 0xa2) { /* no CPUID: a true fault, which happens again and ends the process */
        signal(number, SIG_DFL);
        return;
    }
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
    __cpuid_count(leaf, part, a, b, c, d);
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
    if (leaf == 7 && part == 0) {
        b &= ~AVX512_EBX;
        c &= ~AVX512_ECX;
        d &= ~AVX512_AMX_EDX;
    } else if (leaf == 7 && part == 1) {
        a &= ~PART1_EAX;
        d &= ~PART1_EDX;
    }
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void) {
    struct sigaction action = {.sa_sigaction = answer_cpuid, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) != 0) {
        fprintf(stderr, "error: this machine cannot trap CPUID (%s); /proc/cpuinfo must have cpuid_fault\n", strerror(errno));
        _exit(2);
    }
    setenv("RARN_EDGE_HIDDEN_CPU_FEATURES", "avx512 avx_vnni amx", 1); /* rarn_edge/targets.py */
}
