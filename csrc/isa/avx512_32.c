#define FL_ISA avx512
#define FL_BITS 32
#include "../isa.h"
