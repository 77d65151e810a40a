#define FL_ISA avx512
#include "../isa.h"
