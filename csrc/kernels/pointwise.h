/* The mathematics of one element of every pointwise loss: from its operands to the loss and its derivatives by the
 * predictions. Who calls and wants only some of them pays only for those: the rest is dead code after inlining.
 * A NaN in an operand becomes the value and every gradient. */

/* The operands in the order of losses.def. */
typedef struct {
    real a, b, c, d;
    uint64_t joins; /* of sums that pick: all bits, and none of an element that is left out */
} R(operands);

typedef struct {
    real value;
    real grad_a, grad_b, grad_c; /* by each prediction argument */
    real hess;                   /* second derivative by the first */
    real inside;                 /* less than 0: the operands lie outside the loss's domain; a NaN does not */
} R(terms);

#include "regression.h"
#include "likelihood.h"
#include "binary.h"
#include "signed.h"
