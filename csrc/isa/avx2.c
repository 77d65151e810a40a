#define FL_ISA avx2
#include "../isa.h"
