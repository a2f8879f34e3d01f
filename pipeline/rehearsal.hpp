// Every pass of a rank's chunks once, before the first message.
//
// CUDA loads a kernel when it is first launched, cuBLASLt its own when a product first comes, and
// loading may wait for everything that is under way on the GPU (CUDA C++ Programming Guide, "Lazy
// Loading"). Beside messages that is a deadlock: a receive of NCCL occupies the GPU until its
// message comes, which may need the very kernel that is being loaded, here or on the rank that
// sends. It also takes memory of the GPU, which is better found missing before the first update.
#pragma once

#include "pipeline/stage.hpp"

namespace sluice {

/// On GPUs. Overwrites the first activation and gradient slot of each chunk, and leaves the
/// gradients zero. Weights may hold anything. Throws what passes throw.
void rehearse(Stage& stage);

} // namespace sluice
