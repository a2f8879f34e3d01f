// ProRes: the scalar on each layer's residual branches, alpha(l, t), and the counters that keep it
// in step with the global update count.
//
// Source: Chen et al., "Progressive Residual Warmup for Language Model Pretraining",
// arXiv:2603.05369, Table 5. l = 1..L counts from the embedding; t is the number of COMPLETED
// optimizer updates, so the first forward pass runs with t = 0.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace sluice {

enum class WarmupSchedule : std::uint8_t {
    off,
    linear,
    linear_sqrt,
    linear_square,
    equal,
    reverse,
    stagewise_0,
    stagewise_L,
    stagewise_sqrt_L,
    stagewise_sqrt_l,
    fix_L,
    fix_sqrt_L,
    fix_sqrt_l,
};

/// The names of Table 5, in the order of the enumeration: "off", "linear", "linear-sqrt", ...
std::span<const std::string_view> warmup_schedule_names();
std::string_view name_of(WarmupSchedule schedule);

/// How far gate l is open after t completed updates. T: warm-up length of the first layer, in
/// updates (T >= 1), L: layers of the whole model, 1 <= l <= L.
double residual_alpha(WarmupSchedule schedule, std::int64_t T, std::int64_t L, std::int64_t l,
                      std::int64_t t);

/// The gates of the layers one chunk owns: one counter per layer, advanced once per completed
/// update.
class ResidualWarmup {
public:
    /// Layers [first_layer, first_layer + num_layers), counted from 0; counters at
    /// `completed_updates`.
    ResidualWarmup(WarmupSchedule schedule, std::int64_t T, std::int64_t L,
                   std::int64_t first_layer, std::int64_t num_layers,
                   std::int64_t completed_updates = 0);

    /// One alpha per owned layer, for the update now running.
    std::span<const double> alphas() const { return alphas_; }
    std::span<const std::int64_t> counters() const { return counters_; }
    std::int64_t first_layer() const { return first_layer_; }

    void advance();
    /// From a checkpoint: one counter per owned layer.
    void restore(std::span<const std::int64_t> counters);
    /// For fault drills only: advances one layer's counter out of step.
    void advance_layer_out_of_step(std::int64_t owned_layer);

private:
    void recompute_alphas();

    WarmupSchedule schedule_;
    std::int64_t T_, L_, first_layer_;
    std::vector<std::int64_t> counters_;
    std::vector<double> alphas_;
};

} // namespace sluice
