// A checkpoint whose index or stage file is not what was written, with every checksum of the
// manifest made right again, as somebody who means harm would; or a merged file that is not:
// opened, verified, read whole. The first byte chooses the merged file (bit 1), or which of the
// folder (bit 0); the rest is for hdf5_forgery.hpp.
#include "core/checksum.hpp"
#include "io/checkpoint_manifest.hpp"
#include "tests/fuzz/fuzz_input.hpp"
#include "tests/fuzz/hdf5_forgery.hpp"

#include <array>
#include <fcntl.h>
#include <vector>

using namespace sluice;

namespace {

std::string checksum_of_text(std::string_view text)
{
    return checksum_of(std::as_bytes(std::span(text)));
}

/// A file that is written again and again.
class OpenedFile {
public:
    explicit OpenedFile(const std::filesystem::path& path)
        : descriptor_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600))
    {
    }
    ~OpenedFile() { ::close(descriptor_); }
    OpenedFile(const OpenedFile&) = delete;
    OpenedFile& operator=(const OpenedFile&) = delete;
    void hold(std::string_view bytes)
    {
        fuzz::require(::ftruncate(descriptor_, 0) == 0 &&
                          ::pwrite(descriptor_, bytes.data(), bytes.size(), 0) ==
                              static_cast<ssize_t>(bytes.size()),
                      "a file in memory");
    }

private:
    int descriptor_;
};

/// Stands in the text of a manifest while its own checksum is computed.
constexpr std::string_view no_checksum = "00000000000000000000000000000000";

class ForgedCheckpoint {
public:
    ForgedCheckpoint() : folder_(made()), manifest_(), files_(), forgeries_()
    {
        const std::string text = fuzz::bytes_of_file(folder_ / manifest_name);
        manifest_ = parse_manifest(text, "manifest.json");
        good_text_ = text;
        constexpr std::string_view key = "\"manifest_checksum\": \"";
        good_text_.replace(text.find(key) + key.size(), no_checksum.size(), no_checksum);
        fuzz::require(text_of(manifest_) == text, "the same text as manifest_text()");
        for (const ManifestEntry& entry : manifest_.files) {
            good_.push_back(fuzz::bytes_of_file(folder_ / entry.file));
            files_.push_back(std::make_unique<OpenedFile>(folder_ / entry.file));
            forgeries_.emplace_back(good_.back());
        }
        manifest_file_ = std::make_unique<OpenedFile>(folder_ / manifest_name);
        const std::filesystem::path merged = scratch_.path() / "merged.h5";
        merge_checkpoint(CheckpointReader(folder_), merged);
        merged_forgery_ = std::make_unique<fuzz::Hdf5Forgery>(fuzz::bytes_of_file(merged));
        merged_file_ = std::make_unique<OpenedFile>(merged);
    }

    /// What is to be opened.
    std::filesystem::path forge(fuzz::Choices& choices)
    {
        const std::uint8_t kind = choices.byte();
        if (kind & 2) {
            merged_file_->hold(merged_forgery_->forged(choices));
            return scratch_.path() / "merged.h5";
        }
        forge_part(kind & 1, choices);
        return folder_;
    }

private:
    void forge_part(std::size_t which, fuzz::Choices& choices)
    {
        const std::string bytes = forgeries_[which].forged(choices);
        Manifest manifest = manifest_;
        manifest.files[which].size_bytes = bytes.size();
        manifest.files[which].checksum = checksum_of_text(bytes);
        if (which == 1)
            for (ManifestArray& array : manifest.arrays)
                if (array.file_offset + array.num_bytes() <= bytes.size())
                    array.info.checksum = checksum_of_text(
                        std::string_view(bytes).substr(array.file_offset, array.num_bytes()));
        manifest.parameters_digest = digest_of(manifest.arrays, "/parameters/");
        files_[which]->hold(bytes);
        if (forged_before_ == 1 - which)
            files_[1 - which]->hold(good_[1 - which]);
        forged_before_ = which;
        manifest_file_->hold(text_of(manifest));
    }

    /// What manifest_text() makes of it, in a tenth of the time: numbers and checksums put into the
    /// text of the good one.
    std::string text_of(const Manifest& manifest)
    {
        std::string text = good_text_;
        const auto replace = [&](std::size_t& from, const std::string& old, const std::string& by) {
            const std::size_t at = text.find(old, from);
            fuzz::require(at != std::string::npos, "the good manifest's own words");
            text.replace(at, old.size(), by);
            from = at + by.size();
        };
        std::size_t from = 0;
        replace(from, manifest_.parameters_digest, manifest.parameters_digest);
        for (std::size_t file = 0; file < manifest.files.size(); ++file) {
            replace(from, std::to_string(manifest_.files[file].size_bytes),
                    std::to_string(manifest.files[file].size_bytes));
            replace(from, manifest_.files[file].checksum, manifest.files[file].checksum);
        }
        for (std::size_t array = 0; array < manifest.arrays.size(); ++array)
            replace(from, manifest_.arrays[array].info.checksum,
                    manifest.arrays[array].info.checksum);
        const std::string own = checksum_of_text(text);
        return text.replace(text.find(no_checksum), no_checksum.size(), own);
    }

    /// One layer, one stage, two tensors.
    std::filesystem::path made()
    {
        std::array<float, 6> values{1, 2, 3, 4, 5, 6};
        StageContents contents;
        for (const char* path : {"/optimizer/first_moment/a", "/parameters/model/a/weight"})
            contents.arrays.push_back(
                {path, TensorView{values.data(), DType::f32, Shape{2, 3}, Device{}}});
        contents.warmup = {{.first_layer = 0, .counters = {3}, .alphas = {0.5}}};
        contents.progress = {.update = 3, .samples = 6, .tokens = 60, .seed = 1};
        contents.config_toml = "[run]\nseed = 1\n";
        const std::filesystem::path partial = scratch_.path() / partial_folder_name(3);
        const std::filesystem::path final_folder = scratch_.path() / checkpoint_folder_name(3);
        finish_checkpoint(partial, final_folder, {write_stage_file(partial, 0, 1, contents)});
        return final_folder;
    }

    fuzz::ScratchFolder scratch_;
    std::filesystem::path folder_;
    Manifest manifest_;
    std::string good_text_; ///< its own checksum empty
    std::size_t forged_before_ = 0;
    std::vector<std::string> good_;
    std::vector<std::unique_ptr<OpenedFile>> files_;
    std::unique_ptr<OpenedFile> manifest_file_;
    std::vector<fuzz::Hdf5Forgery> forgeries_;
    std::unique_ptr<fuzz::Hdf5Forgery> merged_forgery_;
    std::unique_ptr<OpenedFile> merged_file_;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static ForgedCheckpoint checkpoint;
    fuzz::Choices choices(data, size);
    const std::filesystem::path path = checkpoint.forge(choices);
    fuzz::accepted([&] {
        const CheckpointReader reader(path);
        reader.verify(); // reads the index, too
        std::array<float, 6> values;
        for (const CheckpointReader::ArrayInfo& info : reader.arrays())
            reader.read(info.path, {values.data(), DType::f32, Shape{2, 3}, Device{}});
    });
    return 0;
}
