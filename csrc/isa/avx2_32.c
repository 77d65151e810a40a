#define FL_ISA avx2
#define FL_BITS 32
#include "../isa.h"
