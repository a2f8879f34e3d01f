// A checkpoint whose index or stage file is not what was written, with every checksum of the
// manifest made right again, as somebody who means harm would: opened, verified, read whole. The
// first byte chooses the file (bit 0); the rest is for hdf5_forgery.hpp.
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

class ForgedCheckpoint {
public:
    ForgedCheckpoint() : folder_(made()), manifest_(), files_(), forgeries_()
    {
        const std::string text = fuzz::bytes_of_file(folder_ / manifest_name);
        manifest_ = parse_manifest(text, "manifest.json");
        for (const ManifestEntry& entry : manifest_.files) {
            good_.push_back(fuzz::bytes_of_file(folder_ / entry.file));
            files_.push_back(std::make_unique<OpenedFile>(folder_ / entry.file));
            forgeries_.emplace_back(good_.back());
        }
        manifest_file_ = std::make_unique<OpenedFile>(folder_ / manifest_name);
    }

    void forge(fuzz::Choices& choices)
    {
        const std::size_t which = choices.byte() & 1;
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
        files_[1 - which]->hold(good_[1 - which]);
        manifest_file_->hold(manifest_text(manifest));
    }

    const std::filesystem::path& folder() const { return folder_; }

private:
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
    std::vector<std::string> good_;
    std::vector<std::unique_ptr<OpenedFile>> files_;
    std::unique_ptr<OpenedFile> manifest_file_;
    std::vector<fuzz::Hdf5Forgery> forgeries_;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static ForgedCheckpoint checkpoint;
    fuzz::Choices choices(data, size);
    checkpoint.forge(choices);
    fuzz::accepted([&] {
        const CheckpointReader reader(checkpoint.folder());
        reader.verify(); // reads the index, too
        std::array<float, 6> values;
        for (const CheckpointReader::ArrayInfo& info : reader.arrays())
            reader.read(info.path, {values.data(), DType::f32, Shape{2, 3}, Device{}});
    });
    return 0;
}
