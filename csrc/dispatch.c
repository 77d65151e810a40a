/* Which instruction sets this build has and this machine can run, best first. Nothing is remembered: the binding asks
 * once, at import. Compiled for the baseline, so that it runs anywhere. */

#include "fastloss.h"

#include <string.h>

#if defined(__x86_64__) || defined(_M_X64)
#define FL_X86 1
#else
#define FL_X86 0
#endif

#if FL_X86 && defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
/* What the processor has and the operating system saves: AVX state for avx2, the 512-bit state for avx512. */
static int can_run(int avx512) {
    int info[4];
    const int fma_f16c_osxsave = 1 << 12 | 1 << 29 | 1 << 27, avx2 = 1 << 5;
    const int avx512_f_dq_bw_vl = 1 << 16 | 1 << 17 | 1 << 30 | (int)(1u << 31);
    unsigned long long saved, wanted = avx512 ? 0xe6 : 0x6;
    __cpuid(info, 0);
    if (info[0] < 7)
        return 0;
    __cpuid(info, 1);
    if ((info[2] & fma_f16c_osxsave) != fma_f16c_osxsave)
        return 0;
    saved = _xgetbv(0);
    __cpuidex(info, 7, 0);
    return (saved & wanted) == wanted && (info[1] & avx2) &&
           (!avx512 || (info[1] & avx512_f_dq_bw_vl) == avx512_f_dq_bw_vl);
}
static int has_avx2(void) { return can_run(0); }
static int has_avx512(void) { return can_run(1); }
#elif FL_X86
#include <cpuid.h>
/* Which not every compiler's __builtin_cpu_supports knows. */
static int has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & 1u << 29);
}

static int has_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}
static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

#define FL_ISA(name)                                                                                                   \
    extern const fl_table fl_table_##name##_32, fl_table_##name##_64;                                                  \
    static const fl_isa name = {#name, {&fl_table_##name##_32, &fl_table_##name##_64}};

#if FL_X86
FL_ISA(avx512)
FL_ISA(avx2)
FL_ISA(base)
static const fl_isa *const isas[] = {&avx512, &avx2, &base};
static int runs(const fl_isa *isa) { return isa == &avx512 ? has_avx512() : isa == &avx2 ? has_avx2() : 1; }
#elif defined(__aarch64__) || defined(_M_ARM64)
FL_ISA(neon)
static const fl_isa *const isas[] = {&neon};
static int runs(const fl_isa *isa) { return isa != NULL; }
#else
FL_ISA(base)
static const fl_isa *const isas[] = {&base};
static int runs(const fl_isa *isa) { return isa != NULL; }
#endif

int fl_isa_count(void) { return (int)(sizeof isas / sizeof *isas); }

const fl_isa *fl_isa_at(int i) { return isas[i]; }

int fl_runs_here(const fl_isa *isa) { return runs(isa); }
