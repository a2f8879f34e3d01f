# What a build can choose, and the compiler flags that the promises about bits rest on.
option(SLUICE_TESTS "Build the tests" ON)
option(SLUICE_BENCHMARKS "Build the benchmarks" ON)
option(SLUICE_SANITIZE "Address and undefined-behaviour sanitizers" OFF)
option(SLUICE_FUZZ "Build the fuzz targets and what they need, with clang and libFuzzer, and nothing else" OFF)
option(SLUICE_WERROR "Warnings are errors" OFF)
set(SLUICE_ARCH "x86-64-v3" CACHE STRING
    "Value of -march on x86-64 (\"native\" for the machine that builds, empty for the compiler's own)")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

add_library(sluice_flags INTERFACE)
# -ffp-contract=off: the compiler never decides on its own where a multiply and an add fuse, so that
# vector bodies and scalar tails of a loop round alike; the code says std::fma where it wants one.
# (The CUDA compiler is told in SluiceCuda.cmake.)
function(sluice_host_options)
    foreach(option ${ARGN})
        target_compile_options(sluice_flags INTERFACE $<$<COMPILE_LANGUAGE:C,CXX>:${option}>)
    endforeach()
endfunction()
# Warnings are for our own sources: a project that links the installed libraries chooses its own.
function(sluice_host_warnings)
    foreach(option ${ARGN})
        target_compile_options(sluice_flags INTERFACE
            $<BUILD_INTERFACE:$<$<COMPILE_LANGUAGE:C,CXX>:${option}>>)
    endforeach()
endfunction()
sluice_host_options(-ffp-contract=off -fno-math-errno)
sluice_host_warnings(-Wall -Wextra)
# GCC 12 warns of an overlap inside std::string's own operator+ that cannot happen (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    sluice_host_warnings(-Wno-restrict)
endif()
if(SLUICE_WERROR)
    sluice_host_warnings(-Werror)
    if(CMAKE_CXX_COMPILER_ID STREQUAL GNU) # what its optimizer guesses depends on the processor
        foreach(guess array-bounds free-nonheap-object maybe-uninitialized restrict stringop-overflow
                stringop-overread)
            sluice_host_warnings(-Wno-error=${guess})
        endforeach()
    endif()
endif()
if(SLUICE_ARCH AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    sluice_host_options(-march=${SLUICE_ARCH})
endif()
if(SLUICE_SANITIZE)
    sluice_host_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined
                        -fno-omit-frame-pointer -g1)
    if(CMAKE_CXX_COMPILER_ID STREQUAL GNU) # of std::regex, seen through the sanitizers: GCC's bug 105562
        sluice_host_warnings(-Wno-maybe-uninitialized)
    endif()
    target_link_options(sluice_flags INTERFACE -fsanitize=address,undefined)
endif()
if(SLUICE_FUZZ)
    if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "SLUICE_FUZZ needs clang (libFuzzer): cmake --preset fuzz")
    endif()
    add_library(sluice_fuzz_flags INTERFACE)
    target_compile_options(sluice_fuzz_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined
        -fsanitize-coverage-ignorelist=${PROJECT_SOURCE_DIR}/tests/fuzz/uncounted.txt
        -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
    target_link_options(sluice_fuzz_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined)
endif()
target_include_directories(sluice_flags INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/sluice>)
target_compile_features(sluice_flags INTERFACE cxx_std_20)
