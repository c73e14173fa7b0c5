#!/bin/sh
# Builds llama-cpp-python for an image: `sh llama.sh VERSION cpu|cuda FOLDER`. The package goes to FOLDER, ready to be
# copied into site-packages; cmake, ninja and scikit-build-core have to be on PATH.
#
# What computes on the processor, libggml-cpu, is built once for each level of the x86-64 psABI, and the dynamic loader
# takes the highest that the machine has (glibc-hwcaps in ld.so(8)): one image for a Pentium without AVX and for a server
# with AVX-512. The library that Python opens is built once; only this one, which it needs, is there more than once.
set -eu

version=$1
flavour=$2
folder=$3
levels="x86-64-v3 x86-64-v4"

# An explicit -march of our own, in place of the one machine that this is built on.
none="-DGGML_AVX=OFF -DGGML_AVX2=OFF -DGGML_FMA=OFF -DGGML_F16C=OFF -DGGML_BMI2=OFF"
level_flags() {
    case $1 in
    x86-64-v2) echo "-DGGML_SSE42=ON $none" ;;
    x86-64-v3) echo "-DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON" ;;
    x86-64-v4) echo "-DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON -DGGML_AVX512=ON" ;;
    esac
}

# LLAMA_CMAKE_ARGS comes last, so that it wins: another -DCMAKE_CUDA_ARCHITECTURES, or an -DGGML_CPU_ARM_ARCH.
configure() {
    build=$1
    shift
    # shellcheck disable=SC2086
    cmake -S vendor/llama.cpp -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON \
        -DCMAKE_INSTALL_RPATH='$ORIGIN' -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DGGML_NATIVE=OFF \
        -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
        -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_CURL=OFF \
        -DLLAMA_BUILD_MTMD=ON -DMTMD_VIDEO=OFF "$@" ${LLAMA_CMAKE_ARGS:-}
}

# A library under the one name by which it is looked for.
take() {
    cp -L "$1" "$2"
    strip --strip-unneeded "$2"
}

mkdir -p /tmp/llama
cd /tmp/llama
pip download --no-deps --no-build-isolation --no-binary llama-cpp-python "llama-cpp-python==$version"
tar -xf llama_cpp_python-*.tar.gz --strip-components=1

base=
[ "$(uname -m)" != x86_64 ] || base=$(level_flags x86-64-v2)
case $flavour in
cpu) cuda= ;;
# One for each generation since Volta; newer ones compile what they need from the last.
cuda) cuda="-DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=${CUDA_ARCHITECTURES:-70-real;75-real;80-real;86-real;89-real;90}" ;;
*) echo "llama.sh: $flavour is neither cpu nor cuda" >&2 && exit 2 ;;
esac

# The Python part alone: what it opens is built here.
CMAKE_ARGS="-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF" pip install --no-deps --no-build-isolation --target "$folder" .
libraries=$folder/llama_cpp/lib
rm -rf "$libraries"
mkdir -p "$libraries"

# shellcheck disable=SC2086
configure build $base $cuda
# mtmd reads images.
cmake --build build --target llama mtmd
for found in build/bin/lib*.so; do
    name=$(basename "$found")
    take "$found" "$libraries/$name.0"
    # What Python opens; the loader knows both for one.
    ln -s "$name.0" "$libraries/$name"
done

if [ "$(uname -m)" = x86_64 ]; then
    for level in $levels; do
        # shellcheck disable=SC2046
        configure "build-$level" $(level_flags "$level")
        cmake --build "build-$level" --target ggml-cpu
        mkdir -p "$libraries/glibc-hwcaps/$level"
        take "build-$level/bin/libggml-cpu.so" "$libraries/glibc-hwcaps/$level/libggml-cpu.so.0"
    done
fi

cd /
rm -rf /tmp/llama
