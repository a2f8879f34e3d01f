// A run small enough to build, for the planner's tests.
#pragma once

#include "src/config/run_config.hpp"

#include <string>
#include <vector>

namespace sluice::test {

/// 6 layers of 16, 12 sequences in micro-batches of `micro_batch_size`.
inline RunConfig small_run(const std::vector<std::string>& overrides = {},
                           std::int64_t micro_batch_size = 2)
{
    return parse_run_config("[model]\nvocab_size = 96\nhidden_size = 16\nintermediate_size = 24\n"
                            "num_layers = 6\nnum_heads = 2\nmax_seq_len = 8\n"
                            "[batch]\nglobal_batch_size = 12\nmicro_batch_size = " +
                                std::to_string(micro_batch_size) +
                                "\nseq_len = 8\n[optimizer]\nlr = 0.01\n"
                                "[data]\ntrain = \"train.h5\"\n[eval]\nevery_updates = 0\n"
                                "[run]\nupdates = 10\n",
                            "small.toml", ".", overrides);
}

} // namespace sluice::test
