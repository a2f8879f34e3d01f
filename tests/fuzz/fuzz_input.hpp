// What the fuzz targets share. A target is one file with LLVMFuzzerTestOneInput; in the fuzz build
// libFuzzer calls it, in all others replay_main.cpp with the committed corpus (docs/fuzzing.md).
#pragma once

#include "core/error.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <span>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <unistd.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace sluice::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size)
{
    return {reinterpret_cast<const char*>(data), size};
}

/// A finding that is neither a crash nor an exception: the program contradicts itself.
inline void require(bool condition, std::string_view what)
{
    if (condition)
        return;
    std::cerr << "fuzz: broken promise: " << what << std::endl;
    std::abort();
}

/// True when `work` accepts the input, false when it refuses it as a user's mistake. Whatever else
/// it throws is a finding.
template <class Work>
bool accepted(Work&& work)
{
    try {
        work();
        return true;
    } catch (const UserError& error) {
        require(!error.problem().empty(), "a refusal says why");
        return false;
    }
}

/// A file without a disk, for readers that want a path.
class MemoryFile {
public:
    MemoryFile() : descriptor_(::memfd_create("fuzz", MFD_CLOEXEC))
    {
        require(descriptor_ >= 0, "memfd_create");
        path_ = "/proc/self/fd/" + std::to_string(descriptor_);
    }
    ~MemoryFile() { ::close(descriptor_); }
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;

    void hold(std::string_view bytes)
    {
        const bool held = ::ftruncate(descriptor_, 0) == 0 &&
                          ::pwrite(descriptor_, bytes.data(), bytes.size(), 0) ==
                              static_cast<ssize_t>(bytes.size());
        require(held, "a file in memory");
    }
    const std::string& path() const { return path_; }

private:
    int descriptor_ = -1;
    std::string path_;
};

/// A folder in memory, deleted with everything in it; where the process crashes, run.py deletes it.
class ScratchFolder {
public:
    ScratchFolder()
    {
        std::string name = "/dev/shm/sluice-fuzz-" + std::to_string(::getpid()) + "-XXXXXX";
        require(::mkdtemp(name.data()) != nullptr, "a folder in /dev/shm");
        path_ = name;
    }
    ~ScratchFolder()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    ScratchFolder(const ScratchFolder&) = delete;
    ScratchFolder& operator=(const ScratchFolder&) = delete;
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

/// Takes choices off the front of an input, so that one input says what to do and to which bytes.
class Choices {
public:
    Choices(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}
    std::uint8_t byte()
    {
        if (rest_.empty())
            return 0;
        const std::uint8_t first = rest_.front();
        rest_ = rest_.subspan(1);
        return first;
    }
    std::uint16_t word()
    {
        const std::uint16_t low = byte();
        return static_cast<std::uint16_t>(low | byte() << 8);
    }
    bool empty() const { return rest_.empty(); }
    std::string_view rest() const { return text_of(rest_.data(), rest_.size()); }

private:
    std::span<const std::uint8_t> rest_;
};

} // namespace sluice::fuzz
