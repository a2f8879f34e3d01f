// The run keys in two tables, and the ranges that both use (see run_key.hpp).
#pragma once

#include "src/config/run_key.hpp"
#include "src/config/run_key_kinds.hpp"

#include <cstdint>
#include <vector>

namespace sluice {

inline constexpr std::int64_t many = 1'000'000'000;
/// What single precision holds, in which nearly all of it is used.
inline constexpr double most_real = 1e37, least_real = 1e-37;
inline constexpr RealRange positive{0.0, most_real, true};
inline constexpr RealRange not_negative{0.0, most_real};

/// [model] [prores] [optimizer] [lr_schedule] [batch]: what is trained, and how.
std::vector<RunKey> recipe_keys();
/// The rest: where it runs, in which numbers, on what data, and what is kept and watched.
std::vector<RunKey> running_keys();

} // namespace sluice
