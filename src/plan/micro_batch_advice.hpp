// Whether a GPU is given too little at once. A run file made for a CPU trains on a GPU as it is,
// and nothing else would tell that it could be several times faster.
#pragma once

#include "src/config/run_config.hpp"

#include <cstddef>
#include <string>

namespace sluice {

/// For log and terminal: a larger batch.micro_batch_size that divides the batch, fits into
/// `bytes_per_rank` and keeps a GPU busier. Empty on CPUs; on a pipeline, which needs its
/// micro-batches; from 16,384 tokens at once on; and where nothing at least twice as large fits.
/// `config` must be concrete, and possible on `num_stages`.
std::string micro_batch_advice(const RunConfig& config, int num_stages, std::size_t bytes_per_rank);

} // namespace sluice
