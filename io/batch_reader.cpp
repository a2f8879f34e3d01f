#include "io/batch_reader.hpp"

#include "core/error.hpp"

namespace sluice {

namespace {

/// "bytes", or the checksum of "sentencepiece:NAME:CHECKSUM": files may be renamed.
std::string_view identity(std::string_view tokenizer)
{
    const std::size_t colon = tokenizer.rfind(':');
    return colon == std::string_view::npos ? tokenizer : tokenizer.substr(colon + 1);
}

} // namespace

void check_vocabulary(const TokenFile& file, std::int64_t model_vocab_size)
{
    const TokenFileInfo& info = file.info();
    if (static_cast<std::int64_t>(info.vocab_size) <= model_vocab_size)
        return;
    throw data_error("its tokenizer (" + info.tokenizer + ") has a vocabulary of " +
                         std::to_string(info.vocab_size) + ", larger than the model's " +
                         std::to_string(model_vocab_size),
                     file.path().string(),
                     "set model.vocab_size to at least " + std::to_string(info.vocab_size) +
                         ", or prepare the text with the model's tokenizer");
}

void check_tokenizer(const TokenFile& file, const TokenFile& trained_on)
{
    const std::string &own = file.info().tokenizer, &other = trained_on.info().tokenizer;
    if (identity(own) == identity(other))
        return;
    throw data_error("its tokens are those of another tokenizer (" + own + ") than the model's (" +
                         other + "): ids mean different text",
                     file.path().string(),
                     "prepare the text with the tokenizer of " + trained_on.path().string());
}

BatchReader::BatchReader(const TokenFile& file, std::int64_t seq_len)
    : file_(&file), seq_len_(seq_len)
{
    SLUICE_CHECK(seq_len >= 1, "seq_len " << seq_len);
    num_windows_ = num_windows_of(file.info().num_tokens, static_cast<std::uint64_t>(seq_len));
    if (num_windows_ == 0)
        throw data_error("it holds " + std::to_string(file.info().num_tokens) +
                             " tokens, too few for one sequence of " + std::to_string(seq_len) +
                             " and its last target",
                         file.path().string(), "prepare more text, or lower batch.seq_len");
}

BatchReader BatchReader::shuffled(const TokenFile& file, std::int64_t seq_len, std::uint64_t seed)
{
    BatchReader reader(file, seq_len);
    reader.order_.emplace(seed, reader.num_windows_);
    return reader;
}

BatchReader BatchReader::in_order(const TokenFile& file, std::int64_t seq_len)
{
    return BatchReader(file, seq_len);
}

std::uint64_t BatchReader::window_of(std::uint64_t sample) const
{
    if (order_)
        return order_->window_of(sample);
    SLUICE_CHECK(sample < num_windows_, "window " << sample << " of " << num_windows_);
    return sample;
}

std::uint64_t BatchReader::epoch_of(std::uint64_t sample) const
{
    return order_ ? order_->epoch_of(sample) : 0;
}

void BatchReader::read(std::uint64_t first, const TensorView& inputs,
                       const TensorView& targets) const
{
    const Shape& shape = inputs.empty() ? targets.shape : inputs.shape; // [B,T]
    SLUICE_CHECK(shape.rank() == 2 && shape[1] == seq_len_ &&
                     (inputs.empty() || targets.empty() || inputs.shape == targets.shape),
                 "inputs " << inputs.shape.text() << ", targets " << targets.shape.text()
                           << ", seq_len " << seq_len_);
    const auto length = static_cast<std::size_t>(seq_len_);
    for (std::int64_t b = 0; b < shape[0]; ++b) {
        const std::uint64_t begin = window_of(first + static_cast<std::uint64_t>(b)) * length;
        if (!inputs.empty())
            file_->read(begin, {inputs.as<std::int32_t>() + b * seq_len_, length});
        if (!targets.empty())
            file_->read(begin + 1, {targets.as<std::int32_t>() + b * seq_len_, length});
    }
}

} // namespace sluice
