// Tokens for benchmarks: uniform random, never zeros, which run faster.
#pragma once

#include "core/random.hpp"
#include "pipeline/executor.hpp"

#include <cstdint>

namespace sluice {

class RandomTokens : public TokenSource {
public:
    explicit RandomTokens(std::int64_t vocab_size) : vocab_size_(vocab_size) {}
    void inputs(std::int32_t microbatch, const TensorView& into) override
    {
        fill(microbatch, into);
    }
    void targets(std::int32_t microbatch, const TensorView& into) override
    {
        fill(microbatch + 1000, into);
    }

private:
    void fill(std::int32_t stream, const TensorView& into)
    {
        std::uint64_t index = static_cast<std::uint64_t>(stream) << 32;
        for (std::int32_t& token : into.elements<std::int32_t>())
            token = static_cast<std::int32_t>(random_.bits(index++) %
                                              static_cast<std::uint64_t>(vocab_size_));
    }
    std::int64_t vocab_size_;
    RandomStream random_{2, "tokens"};
};

} // namespace sluice
