/* Dependent loads within the first-level cache: 16 KiB. */
#define CELLS 256
#include "chase.h"

const char kernel_name[] = "chase_l1";
const u64 kernel_rounds = 160000000;
