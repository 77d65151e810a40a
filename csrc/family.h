/* Storage, kernels and tiles of one compute type; REAL_BITS says which. */

#include "real_type.h"
#if REAL_BITS == 64
#include "real.h"
#endif
#include "pair.h"
#include "storage.h"

#include "kernels/pointwise.h"
#include "tiles/pointwise.h"

#include "kernels/rowwise.h"
#include "kernels/divergence.h"
#include "tiles/rowwise.h"
#include "tiles/lanes.h"
#include "tiles/rows.h"
#include "tiles/pieces.h"
#include "tiles/panel.h"
#include "tiles/narrow.h"
#include "tiles/columns.h"
#include "tiles/pairs.h"
#include "tiles/pair_columns.h"
#include "tiles/tile.h"
#include "tiles/tally.h"

#include "kernels/rowsums.h"
#include "kernels/distance.h"
#include "kernels/triplet.h"
#include "tiles/rowsums.h"
#include "tiles/sums_rows.h"
#include "tiles/sums_columns.h"
#include "tiles/sums_lists.h"
#include "tiles/sums_tile.h"
#if REAL_BITS == 64
#include "kernels/ctc.h"
#endif
#include "tiles/sequences.h"

#include "kernels/pairwise.h"
#include "tiles/distances.h"
#include "tiles/pairwise.h"
