// Checksums of many tensors in one update, of which the host waits for none: each is taken where
// the tensor lies, at its place in the stream's order, and all of them come to the host together.
#pragma once

#include "core/arena.hpp"
#include "core/host_ring.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace sluice {

/// A checksum that travels exactly in a float64.
constexpr double folded(std::uint64_t sum, int num_bits)
{
    return static_cast<double>(sum & ((std::uint64_t{1} << num_bits) - 1));
}

class TensorChecksums {
public:
    /// Takes memory for `most_tensors` between two clear().
    TensorChecksums(const Stream& stream, std::size_t num_sums, std::size_t most_tensors);

    void clear();
    /// sums()[sum] += weight times the checksum (layers/kernels/checksum.hpp) of what `tensor`
    /// holds once the stream has come here. Tensors that change places are told apart by odd
    /// weights that differ.
    void add(std::size_t sum, const TensorView& tensor, std::uint64_t weight);
    /// Queues the way to the host.
    void send();
    /// [num_sums], of what was added before send(). Blocks until the stream has come there.
    std::span<const std::uint64_t> sums();

private:
    struct Term {
        std::size_t sum;
        std::uint64_t weight;
    };

    Stream stream_;
    Arena memory_;
    TensorView found_; ///< [most_tensors] f64, one element per term
    HostRing ring_;
    std::size_t row_ = 0; ///< of ring_, that was sent to last
    std::vector<Term> terms_;
    std::vector<std::uint64_t> sums_;
};

} // namespace sluice
