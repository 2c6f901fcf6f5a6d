# On CPU: docker build -t autofuse-jax .
#         docker run --rm -v "$PWD:/data" autofuse-jax register --fixed F.nii.gz --moving M.nii.gz --out result
FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir /wheels/*.whl && rm -r /wheels
RUN useradd --create-home --uid 1000 user && mkdir /data && chown user /data
USER user
WORKDIR /data
ENTRYPOINT ["autofuse-jax"]
