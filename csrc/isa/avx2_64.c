#define FL_ISA avx2
#define FL_BITS 64
#include "../isa.h"
