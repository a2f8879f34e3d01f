// How fast a GPU copies, multiplies and runs each kernel: ceilings, and kernels against them.
#pragma once

#include "benchmarks/gpu_updates.hpp"
#include "core/tensor_view.hpp"

#include <functional>
#include <nlohmann/json_fwd.hpp>

namespace sluice {

/// Prints them, too. Takes some seconds: the sustained rate is that of a GPU which is warm.
Ceilings measure_ceilings(const Stream& stream, const Effort& effort);
nlohmann::json json_of(const Ceilings& ceilings);
/// Whether they are what they were before everything else: nobody else has used the GPU since.
bool undisturbed(const Ceilings& before, const Ceilings& after);

/// All kernels at the shapes of llama-1.3b, those in bf16 at llama-71m's, whose rows are short, and
/// attention at llama-7b's, whose heads have 128 channels. Prints tables while it goes; all rows so
/// far go to `keep` after each.
void measure_kernels(const Stream& stream, const Ceilings& ceilings, const Effort& effort,
                     const std::function<void(const nlohmann::json&)>& keep);

} // namespace sluice
