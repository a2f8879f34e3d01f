// A checkpoint as a table for people, or as JSON.
#pragma once

#include "io/checkpoint.hpp"

#include <vector>

namespace sluice {

/// Prints progress, one line per layer (gate, counter, norms of weights and moments), and with
/// `list_tensors` one line per tensor. Reads every tensor once.
void print_summary(const CheckpointReader& reader, bool json, bool list_tensors);

/// 2-norm in float64.
double norm_of(const std::vector<std::byte>& bytes, DType dtype);
std::vector<std::byte> read_array(const CheckpointReader& reader,
                                  const CheckpointReader::ArrayInfo& info);

} // namespace sluice
