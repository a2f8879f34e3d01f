// Token ids for the embedding's tests.
#pragma once

#include <cstdint>
#include <vector>

namespace sluice::testing {

/// With repeats, and both ends of the vocabulary.
inline std::vector<std::int32_t> some_tokens(std::int64_t num_tokens, std::int64_t vocabulary)
{
    std::vector<std::int32_t> tokens;
    for (std::int64_t n = 0; n < num_tokens; ++n)
        tokens.push_back(
            static_cast<std::int32_t>(n % 4 == 0 ? vocabulary - 1 : n * n * 7 % vocabulary));
    return tokens;
}

} // namespace sluice::testing
