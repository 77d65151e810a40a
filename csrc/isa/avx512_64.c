#define FL_ISA avx512
#define FL_BITS 64
#include "../isa.h"
