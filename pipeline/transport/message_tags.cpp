#include "pipeline/transport/message_tags.hpp"

#include "core/error.hpp"

#include <algorithm>

namespace sluice {

std::string name_of(const MessageLabel& label)
{
    if (label.called != nullptr)
        return std::string(label.called) + " " + std::to_string(label.microbatch);
    return std::string(label.gradient ? "gradient" : "activation") + " of micro-batch " +
           std::to_string(label.microbatch) + " for chunk " + std::to_string(label.chunk);
}

MessageTags::MessageTags(std::int64_t num_tags)
{
    int bits = 0;
    while ((std::int64_t{2} << bits) <= num_tags)
        ++bits;
    chunk_bits_ = std::min(14, (bits - 1) / 2);
    microbatch_bits_ = bits - 1 - chunk_bits_;
}

int MessageTags::tag_of(const MessageLabel& label) const
{
    SLUICE_CHECK(label.chunk >= 0 && label.microbatch >= 0 &&
                     label.chunk < (std::int32_t{1} << chunk_bits_),
                 name_of(label) << "; this MPI has tags for " << (1 << chunk_bits_) << " chunks");
    const int microbatch = label.microbatch & ((1 << microbatch_bits_) - 1);
    return (microbatch << (chunk_bits_ + 1)) | (label.chunk << 1) | (label.gradient ? 1 : 0);
}

} // namespace sluice
