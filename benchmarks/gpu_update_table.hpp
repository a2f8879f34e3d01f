// What benchmarks/gpu_updates.cpp measured, as tables.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

namespace sluice {

void print_updates_title(std::int64_t positions, std::int64_t full_micro_batch);
/// A row of measure_models: measured, too large, or failed.
void print_update(const nlohmann::json& row);
/// The same updates launched kernel by kernel and as graphs (pipeline.graphs).
void print_graphs(const nlohmann::json& rows);
/// What deep models reach of what the same model reaches with 12 layers.
void print_deep(const nlohmann::json& rows);

} // namespace sluice
