// What one update trains on, for people and for programs.
#pragma once

#include "io/token_file.hpp"
#include "src/config/run_config.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

struct ListedSample {
    std::uint64_t sample = 0; ///< global index
    std::uint64_t epoch = 0;
    std::uint64_t window = 0;
    std::int64_t microbatch = 0;
    std::vector<std::int32_t> inputs, targets; ///< [T] each
};

/// The samples of batch `batch` (>= 1), in micro-batch order. Throws UserError (data).
std::vector<ListedSample> list_batch(const RunConfig& config, const TokenFile& file,
                                     std::int64_t batch);

/// {"update":N,"samples":[global index,...],"inputs":[[ids],...],"targets":[[ids],...]}
std::string listing_json(std::int64_t update, const std::vector<ListedSample>& samples);

/// A few lines per sample, with the text where the tokenizer is the byte tokenizer.
std::string listing_text(std::int64_t update, const std::vector<ListedSample>& samples,
                         const TokenFileInfo& info);

} // namespace sluice
