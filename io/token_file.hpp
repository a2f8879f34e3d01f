// Token files: one HDF5 file of packed documents that reads at memory-copy speed.
//
// Layout (docs/token-format.md): `/tokens` contiguous u16 or u32 [num_tokens]; `/document_offsets`
// u64 [num_documents + 1]; root attributes with provenance: format "sluice-tokens", format_version,
// tokenizer, vocab_size, end_token, num_documents, num_tokens, checksum (of the token bytes),
// inputs_digest, split, created_by. token_file_writer.hpp writes it.
#pragma once

#include "core/dtype.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace sluice {

struct TokenFileInfo {
    DType dtype = DType::u16;
    std::uint64_t num_tokens = 0;
    std::uint64_t num_documents = 0;
    std::uint32_t vocab_size = 0;
    std::uint32_t end_token = 0;
    std::string tokenizer;     ///< "bytes" or the model file's name and checksum
    std::string checksum;      ///< of the token bytes, hex
    std::string inputs_digest; ///< of the documents' text, hex; the same in both halves of a split
    std::string split;         ///< "all", or which documents: "train 0.99 seed 0"
    std::string created_by;    ///< "sluice 0.1.0"
};

inline constexpr std::int64_t token_format_version = 1;

/// A token file, whose contiguous dataset is read where it lies.
class TokenFile {
public:
    /// Throws UserError (data) when the file is missing, truncated, or not a token file: file, what
    /// is wrong, what to do. Does not read the tokens.
    explicit TokenFile(const std::filesystem::path& path);
    ~TokenFile();
    TokenFile(TokenFile&&) noexcept;

    const TokenFileInfo& info() const;
    const std::filesystem::path& path() const;

    /// Tokens [begin, begin + out.size()) widened to i32; may be called from several threads, and
    /// allocates nothing. Throws UserError (data) naming file and position of the first token that
    /// is outside the vocabulary, and where the file has become shorter or cannot be read any more.
    void read(std::uint64_t begin, std::span<std::int32_t> out) const;

    /// Whether somebody has changed it in place since it was opened, by its time stamp; not where
    /// another file has taken its name, which changes nothing here.
    bool was_written_to() const;

    /// Reads everything: the checksum, the range of every id, the document offsets and the end
    /// token at each document's end. Throws UserError (data) at the first thing that is wrong.
    void verify() const;

private:
    struct Map;
    std::unique_ptr<Map> map_;
};

} // namespace sluice
