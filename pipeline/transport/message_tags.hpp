// Labels of messages as the tags that MPI matches by.
#pragma once

#include "pipeline/transport/transport.hpp"

#include <cstdint>
#include <string>

namespace sluice {

/// "activation of micro-batch 3 for chunk 1", or what the label calls it.
std::string name_of(const MessageLabel& label);

/// One bit of a tag for the direction, and the rest for chunk and micro-batch. Two labels that
/// share a tag (micro-batches a multiple of 2^k apart, k at least 7) match in the order they were
/// started, as MPI promises.
class MessageTags {
public:
    /// Tags from 0 to `num_tags` - 1, of which MPI allows 32768 or more.
    explicit MessageTags(std::int64_t num_tags = 32768);

    /// InvariantError where there are no tags for so many chunks.
    int tag_of(const MessageLabel& label) const;

private:
    int chunk_bits_, microbatch_bits_;
};

} // namespace sluice
