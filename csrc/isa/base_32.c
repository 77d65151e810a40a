#if defined(__aarch64__) || defined(_M_ARM64)
#define FL_ISA neon
#else
#define FL_ISA base
#endif
#define FL_BITS 32
#include "../isa.h"
