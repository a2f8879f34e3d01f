#include "src/data/batch_listing.hpp"

#include "core/error.hpp"
#include "io/batch_reader.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

/// Bytes as they are, what a terminal would act on as escapes, the end token as "<end>".
std::string readable(const std::vector<std::int32_t>& ids, const TokenFileInfo& info)
{
    std::string text;
    for (const std::int32_t id : ids) {
        if (static_cast<std::uint32_t>(id) == info.end_token)
            text += "<end>";
        else if (id == '\n')
            text += "\\n";
        else if (id == '\t')
            text += "\\t";
        else if (id < 0x20 || id == 0x7f)
            text += fmt::format("\\x{:02x}", id);
        else
            text += static_cast<char>(id);
    }
    return text;
}

} // namespace

std::vector<ListedSample> list_batch(const RunConfig& config, const TokenFile& file,
                                     std::int64_t batch_number)
{
    check_vocabulary(file, config.model.vocab_size);
    const std::string& expected = config.data.train_checksum;
    if (!expected.empty() && expected != file.info().checksum)
        throw data_error("its tokens have the checksum " + file.info().checksum +
                             ", and the run was started on " + expected,
                         file.path().string(),
                         "give the token file that the run was started on (data.train)");
    const BatchConfig& batch = config.batch;
    const auto reader = BatchReader::shuffled(file, batch.seq_len, config.run.seed);
    const Shape shape{1, batch.seq_len};
    std::vector<ListedSample> samples;
    for (std::int64_t m = 0; m < batch.num_microbatches(); ++m) {
        const std::uint64_t first = first_sample_of_microbatch(
            batch_number, m, batch.global_batch_size, batch.micro_batch_size);
        for (std::int64_t b = 0; b < batch.micro_batch_size; ++b) {
            ListedSample listed;
            listed.sample = first + static_cast<std::uint64_t>(b);
            listed.epoch = reader.epoch_of(listed.sample);
            listed.window = reader.window_of(listed.sample);
            listed.microbatch = m;
            listed.inputs.resize(static_cast<std::size_t>(batch.seq_len));
            listed.targets.resize(static_cast<std::size_t>(batch.seq_len));
            reader.read(listed.sample, view_of(listed.inputs.data(), shape),
                        view_of(listed.targets.data(), shape));
            samples.push_back(std::move(listed));
        }
    }
    return samples;
}

std::string listing_json(std::int64_t update, const std::vector<ListedSample>& samples)
{
    nlohmann::ordered_json json;
    json["update"] = update;
    for (const char* key : {"samples", "inputs", "targets"})
        json[key] = nlohmann::ordered_json::array();
    for (const ListedSample& sample : samples) {
        json["samples"].push_back(sample.sample);
        json["inputs"].push_back(sample.inputs);
        json["targets"].push_back(sample.targets);
    }
    return json.dump();
}

std::string listing_text(std::int64_t update, const std::vector<ListedSample>& samples,
                         const TokenFileInfo& info)
{
    SLUICE_CHECK(!samples.empty(), "update " << update);
    const std::size_t seq_len = samples.front().inputs.size();
    std::string out =
        fmt::format("update {}: {} samples of {} tokens\n", update, samples.size(), seq_len);
    for (const ListedSample& sample : samples) {
        const std::uint64_t begin = sample.window * seq_len;
        out += fmt::format("\nsample {}  micro-batch {}  epoch {}  window {} (tokens {} to {})\n",
                           sample.sample, sample.microbatch, sample.epoch, sample.window, begin,
                           begin + seq_len);
        out += fmt::format("  inputs  {}\n", fmt::join(sample.inputs, " "));
        out += fmt::format("  last target  {}\n", sample.targets.back());
        if (info.tokenizer == "bytes")
            out += "  text    " + readable(sample.inputs, info) + "\n";
    }
    return out;
}

} // namespace sluice
