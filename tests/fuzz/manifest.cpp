// manifest.json of a checkpoint, with its own checksum made right, and what a stage tells rank 0.
#include "core/checksum.hpp"
#include "io/checkpoint_manifest.hpp"
#include "tests/fuzz/fuzz_input.hpp"

using namespace sluice;

namespace {

/// As manifest_text() does, wherever the text names a checksum.
std::string with_right_checksum(std::string text)
{
    constexpr std::string_view key = "\"manifest_checksum\": \"";
    const std::size_t place = text.find(key);
    if (place == std::string::npos || text.size() < place + key.size() + 32)
        return text;
    text.replace(place + key.size(), 32, 32, '0');
    return text.replace(place + key.size(), 32, checksum_of(std::as_bytes(std::span(text))));
}

void parse(const std::string& text)
{
    Manifest manifest;
    if (!fuzz::accepted([&] { manifest = parse_manifest(text, "manifest.json"); }))
        return;
    for (const ManifestEntry& entry : manifest.files)
        fuzz::require(entry.file.find('/') == std::string::npos && entry.file != "..",
                      "no file lies outside the folder");
    const std::string written = manifest_text(manifest);
    Manifest again;
    fuzz::require(fuzz::accepted([&] { again = parse_manifest(written, "again"); }),
                  "what is written is read");
    fuzz::require(manifest_text(again) == written, "the same manifest again");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const std::string text(fuzz::text_of(data, size));
    if (!text.starts_with("{\"progress")) {
        parse(with_right_checksum(text));
        return 0;
    }
    StageSummary summary;
    if (fuzz::accepted([&] { summary = parse_stage_summary(text, "summary.json"); })) {
        const std::string written = stage_summary_text(summary);
        fuzz::require(fuzz::accepted([&] { parse_stage_summary(written, "again"); }),
                      "what a stage writes is read");
    }
    return 0;
}
