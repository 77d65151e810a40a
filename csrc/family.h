/* Storage, kernels and tiles of one compute type; REAL_BITS says which. */

#include "real_type.h"
#if REAL_BITS == 64
#include "real.h"
#endif
#include "storage.h"

#include "kernels/pointwise.h"
#include "tiles/pointwise.h"

#include "kernels/rowwise.h"
#include "tiles/rowwise.h"
#include "tiles/lanes.h"
#include "tiles/rows.h"
#include "tiles/panel.h"
#include "tiles/columns.h"
#include "tiles/tile.h"

#if REAL_BITS == 64
#include "kernels/ctc.h"
#endif
#include "tiles/sequences.h"
