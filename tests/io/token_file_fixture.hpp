// Token files for the tests.
#pragma once

#include "io/token_file_writer.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::testing {

/// Documents of the given tokens, each with the end token behind it. The end token is the last of
/// the vocabulary.
inline void write_token_file(const std::string& path, std::uint32_t vocab_size,
                             const std::vector<std::vector<std::uint32_t>>& documents)
{
    TokenFileWriter writer(path, {"bytes", vocab_size, vocab_size - 1, "all", "test"});
    for (const auto& document : documents) {
        writer.append(document);
        writer.end_document();
    }
    writer.finish("digest of the text");
}

/// One document: ids 0, 1, 2, ... (num_tokens - 1 of them, modulo the vocabulary without its end
/// token) and the end token.
inline void write_counting_file(const std::string& path, std::uint64_t num_tokens,
                                std::uint32_t vocab_size)
{
    std::vector<std::uint32_t> document;
    for (std::uint64_t i = 0; i + 1 < num_tokens; ++i)
        document.push_back(static_cast<std::uint32_t>(i % (vocab_size - 1)));
    write_token_file(path, vocab_size, {document});
}

} // namespace sluice::testing
