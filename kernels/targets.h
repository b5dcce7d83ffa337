#pragma once
// The instruction sets that are not compiled: too close to their neighbours to pay for (SSSE3), or
// without a device of ours (SVE).  To be included before Highway, in all files that use it alike.

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
