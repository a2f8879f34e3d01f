// Writes a token file (token_file.hpp) from documents that arrive one after another.
#pragma once

#include "io/token_file.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace sluice {

/// What is known before the first token.
struct TokenFileOrigin {
    std::string tokenizer;
    std::uint32_t vocab_size = 0;
    std::uint32_t end_token = 0;
    std::string split;
    std::string created_by;
};

/// HDF5 wants to know the length of a contiguous dataset when it is created, so tokens are spooled
/// to nameless files in the folder of `path` first (gone whenever the program ends, however it
/// ends) and copied at finish(). Memory does not grow with the number of tokens or documents; disk
/// space of twice the file is needed for a moment.
class TokenFileWriter {
public:
    /// Nothing appears under `path` before finish(). Throws UserError (data) when the folder cannot
    /// be written to, or `path` is neither a file nor free (replaceable_file()), and
    /// (usage) when another process writes it at this moment (OutputLock).
    TokenFileWriter(const std::filesystem::path& path, TokenFileOrigin origin);
    ~TokenFileWriter();
    TokenFileWriter(TokenFileWriter&&) noexcept;

    /// Appends to the open document. Ids at or above vocab_size are a broken invariant.
    void append(std::span<const std::uint32_t> tokens);
    /// Puts the end token behind the open document.
    void end_document();

    std::uint64_t num_documents() const; ///< ended
    std::uint64_t num_tokens() const;

    /// Writes the file, durably: until this returns, `path` is what it was before. At least one
    /// document, and none open. Returns the size of the file.
    std::uint64_t finish(const std::string& inputs_digest);

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace sluice
