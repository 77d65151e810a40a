/* Chooses the compute type of what is included next: REAL_BITS is 32 or 64. R(name) is `name` of that type. */

#undef R_PASTE
#undef REAL_C
#undef LANES
#undef REAL_DTYPE
#undef EXP_SHIFT
#undef EXP_MAGIC
#undef EXP_LOWEST
#undef EXP_HIGHEST
#undef EXP_BIAS
#undef REAL_SMALLEST
#undef UNIT_EXACT
#undef LN2
#undef LN2_HIGH
#undef LN2_LOW
#undef LOG2_E
#undef LOG_ROOT
#undef LOG_SCALE
#undef LOG_SHIFT

#if REAL_BITS == 32
#define R_PASTE(name) r32_##name
#define REAL_C(value) value##f
#define LANES 32
#define REAL_DTYPE FL_F32
#define REAL_SMALLEST 1.17549435e-38f /* normal number */
#define EXP_SHIFT 23
#define EXP_BIAS 127
#define EXP_MAGIC 12583039.0f    /* 1.5 * 2^23 + EXP_BIAS */
#define EXP_LOWEST -87.33654475f /* below, 2^n e^r leaves the normal numbers */
#define EXP_HIGHEST 88.72283905f /* above, it is infinite */
#define UNIT_EXACT 256.0f        /* above twice that: x - m is exact where e^(x - m) counts */
#define LN2 0.693147180559945309f
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#define LOG2_E 1.44269504088896341f
#define LOG_ROOT 0.75f
#define LOG_SCALE 16777216.0f /* 2^LOG_SHIFT makes the subnormal numbers normal */
#define LOG_SHIFT 24
#else
#define R_PASTE(name) r64_##name
#define REAL_C(value) value
#define LANES 16
#define REAL_DTYPE FL_F64
#define REAL_SMALLEST 2.2250738585072014e-308
#define EXP_SHIFT 52
#define EXP_BIAS 1023
#define EXP_MAGIC 6755399441056767.0 /* 1.5 * 2^52 + EXP_BIAS */
#define EXP_LOWEST -708.39641853226408
#define EXP_HIGHEST 709.78271289338397
#define UNIT_EXACT 2048.0
#define LN2 0.693147180559945309
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define LOG2_E 1.44269504088896341
#define LOG_ROOT 0.70710678118654752
#define LOG_SCALE 9007199254740992.0
#define LOG_SHIFT 53
#endif

#ifndef R
#define R(name) R_PASTE(name)
#define real R(t)
#define bits_t R(bits)
#define REAL_INF ((real)INFINITY)
#define REAL_NAN ((real)NAN)
typedef float r32_t;
typedef double r64_t;
typedef uint32_t r32_bits;
typedef uint64_t r64_bits;
#endif
