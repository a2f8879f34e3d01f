#include "layers/kernels/extents.hpp"

namespace sluice::kernels {

void run(Reference, const Checksum& op)
{
    const auto* const bytes = static_cast<const unsigned char*>(op.x.data);
    const std::size_t num_bytes = op.x.num_bytes();
    std::uint64_t sum = 0;
    for (std::size_t begin = 0; begin < num_bytes; begin += 8) {
        std::uint64_t word = 0;
        for (std::size_t i = 0; i < 8 && begin + i < num_bytes; ++i)
            word |= std::uint64_t{bytes[begin + i]} << (8 * i);
        sum += checksum_term(word + (begin / 8 + 1) * checksum_step);
    }
    op.result.as<double>()[0] = static_cast<double>(sum & checksum_mask);
}

} // namespace sluice::kernels
