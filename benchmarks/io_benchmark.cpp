// How fast a checkpoint is written, against a plain write of as many bytes with fsync in turns with
// it: one JSON object per round on standard output. `./dev bench io` runs it.

#include "core/error.hpp"
#include "io/checkpoint.hpp"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <unistd.h>
#include <vector>

namespace fs = std::filesystem;
using namespace sluice;

namespace {

/// Elapsed, and of one core.
struct Seconds {
    double wall = 0.0, cpu = 0.0;
};

double clock_seconds(clockid_t clock)
{
    timespec now{};
    ::clock_gettime(clock, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

class Stopwatch {
public:
    Seconds seconds() const
    {
        return {clock_seconds(CLOCK_MONOTONIC) - start_.wall,
                clock_seconds(CLOCK_THREAD_CPUTIME_ID) - start_.cpu};
    }

private:
    Seconds start_{clock_seconds(CLOCK_MONOTONIC), clock_seconds(CLOCK_THREAD_CPUTIME_ID)};
};

void check(bool good, const char* call, const fs::path& path)
{
    if (!good) {
        std::fprintf(stderr, "%s: %s: %s\n", path.c_str(), call, std::strerror(errno));
        std::exit(3);
    }
}

/// Bytes that no disk and no file system can shrink (xorshift64).
std::vector<std::byte> random_bytes(std::size_t count)
{
    std::vector<std::byte> bytes(count / 8 * 8);
    std::uint64_t state = 88172645463325252ull;
    for (std::size_t i = 0; i < bytes.size(); i += 8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        std::memcpy(bytes.data() + i, &state, 8);
    }
    return bytes;
}

/// As a stage of hidden size 1024 would have them: matrices of 4 and 11 MB, norms of 4 kB.
StageContents stage_of(std::vector<std::byte>& bytes)
{
    StageContents contents{
        .arrays = {}, .warmup = {}, .progress = {.update = 1}, .config_toml = ""};
    std::size_t begin = 0;
    const auto add = [&](const std::string& name, const Shape& shape) {
        const std::size_t size = static_cast<std::size_t>(shape.num_elements()) * 4;
        if (begin + size > bytes.size())
            return false;
        contents.arrays.push_back(
            {name, view_of(reinterpret_cast<float*>(bytes.data() + begin), shape)});
        begin += size;
        return true;
    };
    std::int64_t layer = 0;
    for (bool more = true; more; ++layer)
        for (const char* group :
             {"parameters", "optimizer/first_moment", "optimizer/second_moment"}) {
            const std::string at = "model.layers." + std::to_string(layer) + ".";
            for (const char* square : {"q_proj", "k_proj", "v_proj", "o_proj"})
                more = more && add(dataset_path(group, at + "self_attn." + square + ".weight"),
                                   {1024, 1024});
            for (const char* tall : {"gate_proj", "up_proj", "down_proj"})
                more =
                    more && add(dataset_path(group, at + "mlp." + tall + ".weight"), {2736, 1024});
            more = more && add(dataset_path(group, at + "input_layernorm.weight"), {1024});
        }
    contents.warmup.push_back({.first_layer = 0,
                               .counters = std::vector<std::int64_t>(layer, 1),
                               .alphas = std::vector<double>(layer, 1.0)});
    return contents;
}

/// What `dd bs=1M conv=fsync` does, from memory.
Seconds plain_write(const fs::path& folder, std::span<const std::byte> bytes)
{
    const fs::path path = folder / "plain";
    const Stopwatch watch;
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    check(file >= 0, "open", path);
    constexpr std::size_t block = std::size_t{1} << 20;
    for (std::size_t begin = 0; begin < bytes.size();) {
        const ssize_t done =
            ::write(file, bytes.data() + begin, std::min(block, bytes.size() - begin));
        check(done > 0, "write", path);
        begin += static_cast<std::size_t>(done);
    }
    check(::fsync(file) == 0, "fsync", path);
    check(::close(file) == 0, "close", path);
    const Seconds seconds = watch.seconds();
    fs::remove(path);
    return seconds;
}

Seconds save(const fs::path& folder, const StageContents& contents)
{
    const fs::path partial = folder / partial_folder_name(1);
    const fs::path final_folder = folder / checkpoint_folder_name(1);
    const Stopwatch watch;
    const ManifestEntry entry = write_stage_file(partial, 0, 1, contents);
    finish_checkpoint(partial, final_folder, {entry});
    const Seconds seconds = watch.seconds();
    fs::remove_all(final_folder);
    return seconds;
}

} // namespace

int main(int argc, char** argv)
{
    std::string folder = ".";
    std::int64_t megabytes = 512;
    int rounds = 7;
    CLI::App app{"Checkpoint bandwidth against a plain write with fsync"};
    app.add_option("--folder", folder, "On the disk to be measured")->check(CLI::ExistingDirectory);
    app.add_option("--megabytes", megabytes)->check(CLI::Range(64, 1 << 20));
    app.add_option("--rounds", rounds)->check(CLI::Range(1, 1000));
    CLI11_PARSE(app, argc, argv);
    const fs::path scratch = fs::path(folder) / fmt::format("sluice-io-{}", ::getpid());
    fs::create_directories(scratch);
    std::vector<std::byte> bytes = random_bytes(static_cast<std::size_t>(megabytes) * 1'000'000);
    const StageContents contents = stage_of(bytes);
    std::size_t num_bytes = 0;
    for (const NamedArray& array : contents.arrays)
        num_bytes += array.view.num_bytes();
    const std::span whole = std::span(bytes).first(num_bytes);
    try {
        for (int round = 0; round < rounds; ++round) {
            // In turns, and who begins changes, so that a disk that slows down slows both.
            Seconds plain;
            if (round % 2 == 0)
                plain = plain_write(scratch, whole);
            const Seconds saved = save(scratch, contents);
            if (round % 2 == 1)
                plain = plain_write(scratch, whole);
            fmt::print("{{\"round\":{},\"bytes\":{},\"plain_seconds\":{:.6f},"
                       "\"plain_cpu_seconds\":{:.6f},\"save_seconds\":{:.6f},"
                       "\"save_cpu_seconds\":{:.6f}}}\n",
                       round, num_bytes, plain.wall, plain.cpu, saved.wall, saved.cpu);
            std::fflush(stdout);
        }
    } catch (const UserError& error) {
        std::fprintf(stderr, "%s\n", error.what());
        fs::remove_all(scratch);
        return static_cast<int>(error.code());
    }
    fs::remove_all(scratch);
    return 0;
}
