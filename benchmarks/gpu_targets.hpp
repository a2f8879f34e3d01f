// What whole updates on a GPU are to reach (docs/benchmarks/README.md, "What updates are to
// reach").
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace sluice {

/// By what is compared, {"floor": .., "goal": ..}: "share_of_matmul", the share of the bf16
/// product's rate; "tokens_per_second", on an H200; "torch_eager" and "torch_compile", how many
/// times as fast as PyTorch; "share_of_12_layers", of a deep model's share of the product in that
/// of the same with 12 layers; "taken_over_planned", of memory, at most. What nothing is asked of
/// is not there.
nlohmann::json gpu_targets_of(const std::string& preset, const std::string& gpu);

/// {"floor": "met" or "below", ..} of a measured figure, for each that the target has; "above"
/// where it is a most that is not kept.
nlohmann::json verdict(const std::string& by, const nlohmann::json& target, double measured);

} // namespace sluice
