// Text to token ids and back.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

/// All members are const and may be called from several threads.
class Tokenizer {
public:
    virtual ~Tokenizer() = default;

    /// Appends the ids of `text` (UTF-8) to `out`; no end token.
    virtual void encode(std::string_view text, std::vector<std::uint32_t>& out) const = 0;
    /// The text of `ids`, each below vocab_size(); end tokens give nothing.
    virtual std::string decode(std::span<const std::uint32_t> ids) const = 0;

    virtual std::uint32_t vocab_size() const = 0;
    /// What stands after each document.
    virtual std::uint32_t end_token() const = 0;
    /// "bytes", or "sentencepiece:NAME:CHECKSUM" with the model file's name and checksum.
    virtual std::string description() const = 0;
};

/// Every byte is its own id; the end token is 256, so the vocabulary has 257 entries.
std::unique_ptr<Tokenizer> make_byte_tokenizer();

/// A SentencePiece `.model` file; the end token is its end-of-sentence piece. Throws UserError
/// (data) when the file is missing, is not such a model, or has no end-of-sentence piece.
std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(const std::string& model_file);

/// "bytes" or a SentencePiece model file.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name);

} // namespace sluice
