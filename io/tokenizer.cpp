#include "io/tokenizer.hpp"

#include "core/checksum.hpp"
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "io/sentencepiece_check.hpp"
#include "io/trial_reading.hpp"

#include <filesystem>
#include <sentencepiece_processor.h>

namespace sluice {

namespace {

constexpr std::uint64_t most_model_bytes = std::uint64_t{1} << 28;

class ByteTokenizer final : public Tokenizer {
public:
    void encode(std::string_view text, std::vector<std::uint32_t>& out) const override
    {
        const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
        out.insert(out.end(), bytes, bytes + text.size());
    }

    std::string decode(std::span<const std::uint32_t> ids) const override
    {
        std::string text;
        text.reserve(ids.size());
        for (const std::uint32_t id : ids) {
            SLUICE_CHECK(id < vocab_size(), "id " << id);
            if (id != end_token())
                text.push_back(static_cast<char>(id));
        }
        return text;
    }

    std::uint32_t vocab_size() const override { return 257; }
    std::uint32_t end_token() const override { return 256; }
    std::string description() const override { return "bytes"; }
};

class SentencePieceTokenizer final : public Tokenizer {
public:
    explicit SentencePieceTokenizer(const std::string& model_file)
    {
        const std::string model = read_file(model_file, most_model_bytes);
        if (const std::string problem = problem_with_normalisation(model); !problem.empty())
            throw data_error("it is not a SentencePiece model: " + problem, model_file,
                             "give the .model file that spm_train writes, or --tokenizer bytes");
        if (model.empty() || !processor_.LoadFromSerializedProto(model).ok())
            throw data_error("it is not a SentencePiece model", model_file,
                             "give the .model file that spm_train writes, or --tokenizer bytes");
        if (processor_.eos_id() < 0)
            throw data_error("this SentencePiece model has no end-of-sentence piece, which has to "
                             "stand between documents",
                             model_file, "train the model with --eos_id >= 0");
        description_ = "sentencepiece:" + std::filesystem::path(model_file).filename().string() +
                       ":" + checksum_of(std::as_bytes(std::span(model)));
    }

    void encode(std::string_view text, std::vector<std::uint32_t>& out) const override
    {
        std::vector<int> ids;
        if (const auto status = processor_.Encode({text.data(), text.size()}, &ids); !status.ok())
            throw unusable(status.ToString());
        out.insert(out.end(), ids.begin(), ids.end());
    }

    std::string decode(std::span<const std::uint32_t> ids) const override
    {
        std::vector<int> pieces;
        pieces.reserve(ids.size());
        for (const std::uint32_t id : ids) {
            SLUICE_CHECK(id < vocab_size(), "id " << id);
            if (id != end_token())
                pieces.push_back(static_cast<int>(id));
        }
        std::string text;
        if (const auto status = processor_.Decode(pieces, &text); !status.ok())
            throw unusable(status.ToString());
        return text;
    }

    std::uint32_t vocab_size() const override
    {
        return static_cast<std::uint32_t>(processor_.GetPieceSize());
    }
    std::uint32_t end_token() const override
    {
        return static_cast<std::uint32_t>(processor_.eos_id());
    }
    std::string description() const override { return description_; }

private:
    UserError unusable(const std::string& status) const
    {
        return data_error("the SentencePiece model cannot be used: " + status, description_,
                          "give a model that spm_train wrote, or --tokenizer bytes");
    }

    sentencepiece::SentencePieceProcessor processor_;
    std::string description_;
};

} // namespace

std::unique_ptr<Tokenizer> make_byte_tokenizer() { return std::make_unique<ByteTokenizer>(); }

std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(const std::string& model_file)
{
    const auto load = [&] { return std::make_unique<SentencePieceTokenizer>(model_file); };
    // Some models end the process when they are loaded or first used, not with an error.
    read_on_trial(model_file, "SentencePiece", [&] {
        std::vector<std::uint32_t> ids;
        const auto tokenizer = load();
        tokenizer->encode("The gate opens: \xC3\xBC\n", ids);
        tokenizer->decode(ids);
    });
    return load();
}

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name)
{
    if (name == "bytes")
        return make_byte_tokenizer();
    if (!std::filesystem::is_regular_file(name))
        throw data_error("there is no such tokenizer: neither the word 'bytes' nor a file", name,
                         "write --tokenizer bytes, or the path of a SentencePiece .model file");
    return make_sentencepiece_tokenizer(name);
}

} // namespace sluice
